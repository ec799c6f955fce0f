# The program of an earlier commit, for upgrades from it. Its sources are the context; it is built
# and runs on the system of today's image.
ARG BUILD
ARG RUNTIME
FROM ${BUILD} AS build
WORKDIR /earlier
COPY . .
RUN scripts/setup build && scripts/build build all -DBUILD_TESTING=OFF && \
    cmake --install build --prefix /opt/earlier --strip

FROM ${RUNTIME}
COPY --from=build /opt/earlier /usr/local
