# One image for bot and rasa: `python -m bot serve` or `python -m bot rasa`. See compose.yaml.
FROM python:3.12-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends make git && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY Makefile ./
COPY requirements requirements
# uv brings Python 3.10 for Rasa.
ENV UV_PYTHON_INSTALL_DIR=/opt/python UV_CACHE_DIR=/tmp/uv
RUN make setup && rm -rf /tmp/uv
COPY . .
# The model is part of the image: every Rasa process starts with the same one.
RUN make train && useradd --create-home shop && mkdir -p /data && chown -R shop /data /app/models
USER shop
ENV DATA_DIR=/data HOST=0.0.0.0
CMD [".venv/bin/python", "-m", "bot", "serve"]
