"""Text from models: the engine seam, the engines, the pool that deals work to them."""
