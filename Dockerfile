# One image for every process of ours: api, worker, dispatcher, sweeper and the Ray nodes.
FROM python:3.11.14-slim-bookworm AS build
COPY requirements.image.lock /build/
RUN python -m venv /opt/keystage \
 && /opt/keystage/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
      -r /build/requirements.image.lock

FROM python:3.11.14-slim-bookworm
RUN useradd --create-home --uid 10001 keystage
COPY --from=build /opt/keystage /opt/keystage
WORKDIR /srv/keystage
COPY config config
COPY core core
COPY api api
COPY workers workers
COPY pipelines pipelines
COPY cli cli
# The command of pyproject.toml: nothing is installed here that would bring it.
RUN printf '#!/bin/sh\nexec python -m cli.main "$@"\n' > /opt/keystage/bin/keystage && chmod 755 /opt/keystage/bin/keystage
# The checkout comes first on the path: PyPI has packages called `config` and `api`.
ENV PATH=/opt/keystage/bin:$PATH PYTHONPATH=/srv/keystage PYTHONUNBUFFERED=1 OPENBLAS_NUM_THREADS=1 MALLOC_ARENA_MAX=2
USER keystage
EXPOSE 8080
CMD ["python", "-m", "api.serve"]
