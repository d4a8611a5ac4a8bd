# One image with both binaries. The data directory is a volume: it holds the shards and the catalog.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin shardd --bin shardctl

FROM debian:bookworm-slim
RUN useradd --system --home-dir /var/lib/shardd --create-home shardd
COPY --from=build /source/target/release/shardd /source/target/release/shardctl /usr/local/bin/
USER shardd
WORKDIR /var/lib/shardd
VOLUME /var/lib/shardd
# Inside a container all listeners are open to its network; what reaches them is the container's configuration.
ENV SHARDD_DATA_DIR=/var/lib/shardd/data \
    SHARDD_LISTEN_POSTGRES=0.0.0.0:6432 \
    SHARDD_LISTEN_HTTP=0.0.0.0:8432 \
    SHARDD_LISTEN_ADMIN=127.0.0.1:8433 \
    SHARDD_ALLOW_INSECURE_LISTENER=true
EXPOSE 6432 8432
STOPSIGNAL SIGTERM
ENTRYPOINT ["shardd"]
