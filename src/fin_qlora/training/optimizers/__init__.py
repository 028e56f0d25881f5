"""0/1 Adam, DeepSpeed's configurations, and who may share what with whom."""
