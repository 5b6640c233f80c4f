# limpid in a small image: built in one stage, run in another as a user without rights.
#
#   docker build -t limpid .
#   docker run --rm -v "$PWD/work:/work" limpid                       # the quickstart, into ./work/runs
#   docker run --rm -v "$PWD/work:/work" limpid run my-pipeline.toml
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
RUN cargo build --release --locked

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/limpid /usr/local/bin/limpid
COPY pipelines /pipelines
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/limpid"]
CMD ["run", "/pipelines/quickstart.toml"]
