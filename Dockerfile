# One image for the API, the worker and the migrations: the command says which.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /srv/signalbox

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY engine engine
COPY store store
COPY workflows workflows
COPY activities activities
COPY worker worker
COPY app app
COPY examples examples

# Editable, so that the migrations and the examples are found where the code is.
RUN pip install -c constraints.txt -e . \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin signalbox

USER 10001

EXPOSE 8000

ENTRYPOINT ["signalbox"]
CMD ["api"]
