# limpid in a small image: built in one stage, run in another as a user without rights.
#
#   docker build -t limpid .
#   mkdir -p work
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/work:/work" limpid     # the quickstart, into ./work/runs
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/work:/work" limpid run my-pipeline.toml
#
# The folder is made before, and the user named, because Docker would make it as root, and limpid could not write to it.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
# The manifest names the benchmarks, and cargo wants to see what it names.
COPY benches benches
RUN cargo build --release --locked

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/limpid /usr/local/bin/limpid
COPY pipelines /pipelines
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/limpid"]
CMD ["run", "/pipelines/quickstart.toml"]
