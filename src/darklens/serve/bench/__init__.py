"""The laboratory's bench: parameters to a scene, a scene to what is shown of it and kept of it."""

from darklens.serve.bench.cameras import CAMERAS, Camera, camera
from darklens.serve.bench.parameters import GROUPS, Bench
from darklens.serve.bench.scenes import scene_of
from darklens.serve.bench.views import View, curves_of, image_of, view_of

__all__ = ["CAMERAS", "GROUPS", "Bench", "Camera", "View", "camera", "curves_of", "image_of", "scene_of", "view_of"]
