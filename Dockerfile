# The image of msaas: one executable. The subcommand says what it does (serve, work, logs, up, ...).
# Weights are not in it.
#
#   docker build -t msaas .                                     # computes on processors
#   docker build -t msaas:gpu --target gpu --build-arg LIBTORCH_URL=... \
#       --build-arg LIBTORCH_SHA256=... .                       # computes on NVIDIA GPUs
#
# To get the same bytes at each build: --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct), the
# same time in the builder's --timestamp, and a base pinned by digest (BASE).
ARG BASE=debian:trixie-slim

# ---- build: compiler, headers, unit tests; npm, for the page ----
FROM ${BASE} AS build
ARG SOURCE_DATE_EPOCH=0
# From where npm fetches what the page is built of, and whom it trusts; by default as usual.
ARG NPM_CONFIG_REGISTRY
ARG NPM_CONFIG_CAFILE
WORKDIR /src
COPY scripts/lib.sh scripts/setup scripts/packages scripts/
RUN scripts/setup build unit
COPY CMakeLists.txt ./
COPY cmake cmake
COPY include include
COPY models models
COPY scripts scripts
COPY src src
COPY test test
ARG VERSION=0.1.0
RUN scripts/build build all -DMSAAS_WERROR=ON -DMSAAS_WEB=on && \
    ctest --test-dir build -R '^unit_' -LE redis --output-on-failure --no-tests=error \
        -j "$(nproc)" && \
    test "$(build/msaas --version)" = "msaas $VERSION" && \
    cmake --install build --prefix /opt/msaas --strip && \
    scripts/runtime-packages /opt/msaas/bin/msaas /opt/msaas/lib/msaas/libmsaas_torch.so \
        >/opt/packages

# ---- runtime: the executable and the libraries that it is linked to ----
FROM ${BASE} AS runtime
ARG SOURCE_DATE_EPOCH=0
COPY --from=build /opt/packages /opt/packages
RUN printf 'path-exclude=/usr/share/%s/*\n' doc man locale info lintian \
        >/etc/dpkg/dpkg.cfg.d/lean && \
    apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive \
        xargs -a /opt/packages apt-get install -y -qq --no-install-recommends && \
    apt-get clean && \
    rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* /tmp/* \
        /usr/share/doc/* /usr/share/man/* /usr/share/locale/*
COPY --from=build /opt/msaas /usr/local
RUN install -d -o 65532 -g 65532 /var/lib/msaas
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="msaas" \
      org.opencontainers.image.description="Music separation as a service, with Demucs v4" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT"
# A number, so that Kubernetes can tell that the user is not root. Scratch files and caches go below
# /tmp and HOME by default: mount something there if the root file system is read-only.
USER 65532:65532
ENV HOME=/var/lib/msaas
WORKDIR /var/lib/msaas
EXPOSE 5000 5001
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["msaas", "health"]
ENTRYPOINT ["msaas"]
CMD ["--help"]

# ---- the same for NVIDIA GPUs: an official libtorch with CUDA instead of Debian's ----
FROM build AS gpu-build
ARG LIBTORCH_URL
ARG LIBTORCH_SHA256
RUN apt-get install -y -qq --no-install-recommends curl unzip && \
    curl -fsSLo /tmp/libtorch.zip \
        "${LIBTORCH_URL:?an official libtorch with CUDA (shared, C++11 ABI)}" && \
    echo "${LIBTORCH_SHA256:?its SHA-256}  /tmp/libtorch.zip" | sha256sum -c - && \
    unzip -q /tmp/libtorch.zip -d /opt && rm /tmp/libtorch.zip && \
    scripts/build build-gpu all -DBUILD_TESTING=OFF -DCMAKE_PREFIX_PATH=/opt/libtorch && \
    cmake --install build-gpu --prefix /opt/msaas-gpu --strip && \
    cp -a /opt/libtorch/lib/*.so* /opt/msaas-gpu/lib/msaas/

FROM runtime AS gpu
COPY --from=gpu-build /opt/msaas-gpu /usr/local
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility MSAAS_DEVICE=cuda

# What is built without --target.
FROM runtime
