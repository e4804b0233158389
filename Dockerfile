ARG BASE=python:3.12-slim

FROM ${BASE} AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

# Everything below installs from this folder alone, and it holds only what the lock vouches for by hash.
COPY constraints.txt .
RUN pip download --require-hashes --only-binary :all: --requirement constraints.txt --dest /wheels

ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
COPY . .
RUN pip wheel --no-deps --wheel-dir /dist . \
    && python3 -m venv --without-pip /opt/planner \
    && pip --python /opt/planner/bin/python install /dist/*.whl \
    # Packages ship their tests: a fifth of the whole, and never imported.
    && find /opt/planner -type d -name tests -prune -exec rm -rf {} +

FROM ${BASE}
# Nothing is installed from here on. Both places: Python's own images have it below /usr/local, Debian below /usr.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
    /usr/bin/pip* /usr/lib/python3/dist-packages/pip* /usr/lib/python3*/ensurepip /usr/share/python-wheels
COPY --from=build /opt/planner /opt/planner
ENV PATH=/opt/planner/bin:$PATH PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["planner"]
