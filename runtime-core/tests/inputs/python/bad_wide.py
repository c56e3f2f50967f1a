def train(x):
	name = "東京" x
