import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { defineConfig, type Plugin } from "vite";

/** Where `impasto web` looks for the page, and wheels take it from. */
const OUTPUT = "../src/impasto/web/front";
/** What a first visit need not load: the runtime for graphics processors is loaded where there is one. */
const ON_DEMAND = /asyncify|sw\.js$/;

/** Writes the list of files that the service worker keeps, and a version that changes with any of them. */
function serviceWorker(): Plugin {
  return {
    name: "service-worker",
    closeBundle() {
      const files = readdirSync(OUTPUT, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => relative(OUTPUT, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
        .filter((name) => !ON_DEMAND.test(name))
        .sort();
      const hash = createHash("sha256");
      for (const name of files) hash.update(name).update(readFileSync(join(OUTPUT, name)));
      const path = join(OUTPUT, "sw.js");
      const text = readFileSync(path, "utf8")
        .replace('"VERSION"', JSON.stringify(hash.digest("hex").slice(0, 16)))
        .replace('["FILES"]', JSON.stringify(["./", ...files.filter((name) => name !== "index.html")]));
      writeFileSync(path, text);
    },
  };
}

export default defineConfig({
  base: "./",
  // ONNX Runtime's own loader and WebAssembly are files of their own, so that a page without a GPU loads one of them.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser", "development|production"] },
  worker: { format: "es" },
  build: { outDir: OUTPUT, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0, chunkSizeWarningLimit: 1000 },
  plugins: [serviceWorker()],
});
