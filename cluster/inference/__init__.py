"""Text from models: the engine interface, the engines, and the pool that gives them work."""
