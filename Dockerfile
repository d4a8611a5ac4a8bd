# One image with both binaries, and neither shell nor packages beside them. The data directory is a volume: it holds the
# catalog, and the shards where they are SQLite files.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --profile production --locked --bin shardd --bin shardctl \
    && mkdir -p /image/usr/local/bin /image/var/lib/shardd \
    && cp target/production/shardd target/production/shardctl /image/usr/local/bin/ \
    && strip --strip-debug /image/usr/local/bin/shardd /image/usr/local/bin/shardctl

# The C library and certificates of authorities, for shards with sslmode=verify-full. Its user "nonroot" is 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /image/usr/local/bin/ /usr/local/bin/
COPY --from=build --chown=65532:65532 /image/var/lib/shardd /var/lib/shardd
USER 65532:65532
WORKDIR /var/lib/shardd
VOLUME /var/lib/shardd
# Inside a container all listeners are open to its network; what reaches them is the container's configuration.
ENV SHARDD_DATA_DIR=/var/lib/shardd/data \
    SHARDD_LISTEN_POSTGRES=0.0.0.0:6432 \
    SHARDD_LISTEN_POSTGRES_SESSION=0.0.0.0:6433 \
    SHARDD_LISTEN_HTTP=0.0.0.0:8432 \
    SHARDD_LISTEN_ADMIN=127.0.0.1:8433 \
    SHARDD_ALLOW_INSECURE_LISTENER=true
EXPOSE 6432 6433 8432
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/shardd"]
