# The image of deploy/weir.yaml. The first stage builds with the scripts that a checkout is built with; the second holds what
# scripts/image-root.ts puts together and the packages of scripts/image-packages, and no compiler.
#
#   docker build -t weir:0.1.0 .
FROM node:24-bookworm AS build
WORKDIR /src
COPY scripts/install-packages scripts/
RUN scripts/install-packages
# The dependencies are a layer of their own: they are compiled again only when the lock file changes.
COPY Makefile package.json package-lock.json ./
RUN make node_modules/.installed
COPY . .
RUN make build && node dist/scripts/image-root.js /image

FROM debian:bookworm-slim
COPY scripts/image-packages /tmp/
RUN /tmp/image-packages && rm /tmp/image-packages
COPY --from=build /image/ /
# Fails the build, not the node, where a library is missing: the version needs node, this the FFI and libbpf.
RUN weir --version && weir service list --bpf-root /nowhere 2>&1 | grep -q WEIR_NOT_INSTALLED
ENTRYPOINT ["weir"]
CMD ["--help"]
