# One image for all of Pilum: `docker run … pilum api` or `… pilum worker`. docs/operate/containers.md says what each may need.

# Tags of one release of Debian, so that what is taken from one image runs in the other.
FROM node:26-bookworm-slim AS node

FROM node AS modules
WORKDIR /opt/pilum
# The lock knows every workspace; only those that run here are installed. The root's own dependency is a Node for
# machines that have an older one: this image has its own.
COPY package.json package-lock.json ./
COPY packages/core/package.json packages/core/
COPY apps/api/package.json apps/api/
COPY apps/worker/package.json apps/worker/
COPY apps/up/package.json apps/up/
# Of npm's settings, those that a machine behind a proxy may have to give: --build-arg npm_config_ca="$(cat ca.pem)".
ARG npm_config_ca
ARG npm_config_registry
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund --workspace apps/api --workspace apps/worker \
  # The compiler that a library would like to see, and what only a person or a debugger reads.
  && rm -rf node_modules/typescript node_modules/@typescript \
  && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.md' \) -delete

# The engine wasmtime, on the oldest C library that the image may have. What "npm run build:wasmtime" has made is taken as it is;
# else it is built here, once for each Cargo.lock, in some 14 minutes of one processor. --build-arg WASMTIME=none leaves it
# out: V8 runs WebAssembly then.
FROM debian:bookworm-slim AS wasmtime
WORKDIR /build
ARG WASMTIME=build
ARG npm_config_ca
COPY containers/build-wasmtime ./
# The other file is there so that there is always one.
COPY package.json packages/wasmtime/build/wasmtime.nod[e] build/
RUN ./build-wasmtime tools
COPY packages/wasmtime/Cargo.toml packages/wasmtime/Cargo.lock packages/wasmtime/build.rs ./
COPY packages/wasmtime/src src
RUN ./build-wasmtime addon

FROM node AS source
WORKDIR /opt/pilum
COPY package.json ./
COPY packages/core packages/core
COPY apps/api apps/api
COPY apps/worker apps/worker
COPY --from=wasmtime /build/build packages/wasmtime/build
COPY containers/pilum containers/*.mjs containers/
COPY tools/secrets.ts tools/
# Who has cloned the tree may have kept it to himself.
RUN chmod -R a+rX . && chmod a+rx containers/pilum

# Not the image of Node itself: npm and headers stay behind.
FROM debian:bookworm-slim
# bubblewrap and Python for functions, tini to reap what they leave, mount for the entrypoint of a worker.
RUN apt-get update -q \
  && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    bubblewrap ca-certificates iproute2 libatomic1 libstdc++6 mount nftables python3 tini \
  && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old \
  # A uid that is nobody's on the usual host: for the kernel it is the same one there.
  && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pilum \
  && install -d -o pilum -g pilum -m 0711 /var/lib/pilum
COPY --from=node /usr/local/bin/node /usr/local/bin/node
WORKDIR /opt/pilum
COPY --from=modules /opt/pilum/node_modules node_modules
COPY --from=source /opt/pilum ./

ENV PILUM_HOST=0.0.0.0 PILUM_DATA=/var/lib/pilum
USER pilum
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["node", "/opt/pilum/containers/health.mjs"]
ENTRYPOINT ["/opt/pilum/containers/pilum"]
