# One image for every role: docker build -t cedargate .
#
# A binary that was made on a Debian 12 (or older glibc) goes in instead where crates or the Rust image cannot be had, or
# where it shall be the one of `script/release`:
#   docker build -t cedargate --build-arg BINARY=prebuilt .
#   docker build -t cedargate --build-arg BINARY=prebuilt --build-arg PREBUILT=target/optimized/cedargate .
ARG BINARY=build

FROM rust:1.95-bookworm AS build
# aws-lc, the cryptographic library, is built from C.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package cedargate \
    && cp target/release/cedargate /cedargate

FROM scratch AS prebuilt
ARG PREBUILT=target/release/cedargate
COPY ${PREBUILT} /cedargate

FROM ${BINARY} AS binary

FROM debian:bookworm-slim
RUN groupadd --gid 10001 cedargate \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /srv/cedargate \
        --shell /usr/sbin/nologin cedargate \
    && install -d -o 10001 -g 10001 /srv/cedargate /srv/cedargate/data
COPY --from=binary /cedargate /usr/local/bin/cedargate
COPY policies /srv/cedargate/policies
WORKDIR /srv/cedargate
USER 10001:10001
# Gateway, token service, PDP. The admin listener stays on the container's loopback.
EXPOSE 8080 8081 8082
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["cedargate", "healthcheck"]
ENTRYPOINT ["cedargate"]
CMD ["--help"]
