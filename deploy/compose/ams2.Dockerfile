# The image of ams2.yaml: the pipeline with what the API, its workers and the dashboard need.
FROM python:3.11-slim
WORKDIR /app
# The package alone: tests, documentation and data stay out of the image.
COPY pyproject.toml README.md ./
COPY apex_pipeline ./apex_pipeline
RUN pip install --no-cache-dir '.[api,rq]' 'rq-dashboard>=0.9'
# Nothing here needs to be root.
RUN useradd --create-home apex
USER apex
WORKDIR /home/apex
