// Keeps the page's files, so that it opens without a network; and isolates the page from other origins, which threads
// in WebAssembly require, on hosts that cannot send the headers for it. A new version waits until no page of the old one
// is open, whose files it would take away.
const CACHE = "impasto-" + "VERSION";
const FILES = ["FILES"];

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(CACHE)
      .then((cache) => cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })))),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const address = new URL(request.url);
  const scope = new URL(self.registration.scope);
  const isOwn = address.origin === scope.origin && address.pathname.startsWith(scope.pathname);
  if (request.method === "GET" && isOwn) event.respondWith(answer(request));
});

async function answer(request) {
  const isPage = request.mode === "navigate";
  const cache = await caches.open(CACHE);
  const kept = await cache.match(isPage ? "./" : request, { ignoreSearch: true });
  const response = kept ?? (await fetch(request));
  return response.ok ? isolated(response) : response;
}

function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
