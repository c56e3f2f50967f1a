def f(x):
	if x:
		return 1

def g(y=1): pass
