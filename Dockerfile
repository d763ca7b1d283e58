# syntax=docker/dockerfile:1
# All that is pinned in requirements.lock has wheels for it, on x86-64 and on arm64. For a build that
# can be repeated, give it with its digest: docs/security.md, "Images by digest".
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /app

# The packages first: this layer stays until the lock changes. Only wheels: no compiler is here.
# The environment gets no pip of its own; the image's pip installs into it.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv --without-pip .venv \
    && python -m pip --python .venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r requirements.lock \
    && python -m pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: --target /build -r requirements-build.lock

COPY LICENSE README.md pyproject.toml ./
COPY deploy/healthcheck.py deploy/
COPY web web
COPY migrations migrations
COPY models models
COPY ingestion ingestion
COPY simulator simulator
COPY resolvers resolvers
COPY schema schema
COPY server server
# Compiled now, because the account that runs it cannot write here.
RUN PYTHONPATH=/build python -m pip --python .venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --no-deps --no-build-isolation --editable . \
    && .venv/bin/python -m compileall -q migrations models ingestion resolvers schema server simulator


FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="coingraph" \
      org.opencontainers.image.description="Self-hosted price history and live prices for crypto, over GraphQL." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Its home is no volume: a mount may belong to somebody else, and asyncpg looks for client
# certificates in the home.
#
# A fixed number, so that volumes and Kubernetes' runAsUser can name it. It needs a name as well:
# PostgreSQL refuses to run as an account that has none.
RUN groupadd --gid 10001 coingraph \
    && useradd --uid 10001 --gid 10001 --home-dir /home/coingraph --no-create-home \
        --shell /usr/sbin/nologin coingraph \
    && install --directory --mode=0755 /home/coingraph \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data

# The same path as in the build: the environment and the editable install name it.
WORKDIR /app
COPY --from=build /app /app

ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOG_FORMAT=json \
    HOME=/home/coingraph \
    DATA_DIR=/data \
    HOST=::

# The embedded database lives here where DATABASE_URL is not set.
VOLUME /data
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["/app/.venv/bin/python", "-I", "/app/deploy/healthcheck.py"]
ENTRYPOINT ["coingraph"]
CMD ["serve"]
