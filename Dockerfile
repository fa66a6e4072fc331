# docker build -t impasto .
# With CUDA: docker build -t impasto --build-arg TORCH_INDEX=https://pypi.org/simple .

# The page that paints in the browser.
FROM node:22-slim AS page
COPY browser /src/browser
RUN npm --prefix /src/browser ci && npm --prefix /src/browser run build

FROM python:3.11-bookworm AS build
COPY . /src
COPY --from=page /src/src/impasto/web/front /src/src/impasto/web/front
RUN pip wheel --no-deps --wheel-dir /wheels /src

FROM python:3.11-slim-bookworm
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=web,heif,video,audio,explain
RUN pip install --no-cache-dir "torch>=2.6,<2.14" --index-url "$TORCH_INDEX"
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/impasto-*.whl)[$EXTRAS]"
# Any user may run it, and keep learnt styles and downloaded weights in a volume.
RUN mkdir -m 1777 /cache
ENV IMPASTO_CACHE=/cache MPLCONFIGDIR=/tmp/matplotlib
VOLUME /cache
WORKDIR /pictures
ENTRYPOINT ["impasto"]
