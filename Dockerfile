# The container image of connwarden: docker build -t connwarden .
#
# Base images are pinned to a release and not to a digest: building again brings Debian's security fixes.

# The tag is the toolchain of rust-toolchain.toml (a test compares them). That file itself stays outside:
# it asks for rustfmt and clippy too, which rustup would fetch.
FROM rust:1.95.0-slim-trixie AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock askama.toml build.rs ./
COPY migrations ./migrations
COPY src ./src
# Both caches outlive this build, so only what has changed is compiled again. Cargo goes by modification times and those
# of the sources come from outside: `touch` makes sure that a cached build is never taken for this one.
RUN --mount=type=cache,id=connwarden-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=connwarden-target,target=/src/target,sharing=locked \
    touch build.rs src/lib.rs src/main.rs && \
    cargo build --locked --release --bin connwarden && \
    cp target/release/connwarden /usr/local/bin/connwarden

FROM debian:13-slim
# By https connwarden trusts whom they vouch for: without any, nobody. Monitoring addresses with http need none.
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/*
# A volume takes over the owner of the folder that it covers.
RUN install -d -m 0750 -o 65532 -g 65532 /var/lib/connwarden
COPY --from=build /usr/local/bin/connwarden /usr/local/bin/connwarden
# Numbers, because Kubernetes cannot tell from a name that it is not root.
USER 65532:65532
WORKDIR /var/lib/connwarden
VOLUME /var/lib/connwarden
# where `connwarden incidents` in the container finds the operator's token
ENV CONNWARDEN_STORAGE_PATH=/var/lib/connwarden
EXPOSE 9480
# Ends as the daemon is used to: the jobs that have begun are finished, within 20 seconds.
STOPSIGNAL SIGTERM
# Asks the daemon for its newest incident, which takes its HTTP server and its store to answer; the image has no other
# HTTP client. Set CONNWARDEN_SERVER if it does not listen on port 9480, or by TLS.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
    CMD ["connwarden", "incidents", "list", "--limit", "1"]
ENTRYPOINT ["connwarden"]
# Mount a configuration file there. It has to let connwarden listen beyond the container's own loopback, which takes
# credentials: docker-compose.yml and deploy/compose/connwarden.yml show how.
CMD ["serve", "--config.file", "/etc/connwarden/connwarden.yml", "--storage.path", "/var/lib/connwarden"]
