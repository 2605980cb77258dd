"""A real pretrained model, small enough for two CPU cores: the folder that vLLM runs, questions and examples for it."""
