"""The HTTP server: OpenAI's API, a web page, health and metrics."""

from lilllm.serving.app import build_app
from lilllm.serving.feedback import FeedbackDesk
from lilllm.serving.gate import LOOPBACK
from lilllm.serving.server import serve
from lilllm.serving.service import ServedModel, Service

__all__ = ["LOOPBACK", "FeedbackDesk", "ServedModel", "Service", "build_app", "serve"]
