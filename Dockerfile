# limpid in a small image: built in one stage, run in another as a user without rights.
#
#   docker build -t limpid .
#   mkdir -p work
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/work:/work" limpid     # the quickstart, into ./work/runs
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/work:/work" limpid run my-pipeline.toml
#
# The folder is made before, and the user named, because Docker would make it as root, and limpid could not write to it.
# It is the only place that is written to. With object stores or downloads limpid needs a network; besides it needs no right:
#
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/work:/work" \
#       --read-only --cap-drop ALL --security-opt no-new-privileges --network none limpid
#
# For an NVIDIA GPU, with the driver and the NVIDIA Container Toolkit on the host (docs/devices.md says what was tried of this):
#
#   docker build -t limpid:cuda --target cuda .
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD/work:/work" limpid:cuda    # the quickstart, on the GPU
#   docker run --rm --gpus all limpid:cuda devices
FROM rust:1.95-slim-bookworm AS source
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
# The other members of the workspace, which are not built.
COPY crates crates
# The manifest names the benchmarks, and cargo wants to see what it names.
COPY benches benches

FROM source AS build
RUN cargo build --profile published --locked

# Burn's CUDA backend downloads an LLVM while it is built, and compiles a little C++ against it.
FROM source AS build-cuda
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates g++ && rm -rf /var/lib/apt/lists/*
RUN cargo build --profile published --locked --features cuda

# Kernels are compiled while they run, by the LLVM that is linked in: of CUDA it takes the driver, which the Container Toolkit
# mounts, and one file of the CUDA toolkit, with logarithms and the like.
FROM nvidia/cuda:12.8.1-devel-ubuntu24.04 AS toolkit

FROM nvidia/cuda:12.8.1-base-ubuntu24.04 AS cuda
COPY --from=toolkit /usr/local/cuda/nvvm/libdevice /usr/local/cuda/nvvm/libdevice
COPY --from=build-cuda /src/target/published/limpid /usr/local/bin/limpid
COPY pipelines /pipelines
COPY LICENSE-* /licenses/
WORKDIR /work
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/limpid"]
CMD ["run", "/pipelines/quickstart.toml", "--device", "cuda:0"]

# The last stage is what a build without --target gives.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/published/limpid /usr/local/bin/limpid
COPY pipelines /pipelines
COPY LICENSE-* /licenses/
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/limpid"]
CMD ["run", "/pipelines/quickstart.toml"]
