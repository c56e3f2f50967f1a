"""Sums up a list of numbers."""

import statistics


def summary(context, values: list):
    """Logs the mean, the standard deviation and the quartiles of `values`."""
    context.log_results({
        "mean": round(statistics.fmean(values), 3),
        "deviation": round(statistics.stdev(values), 3),
        "quartiles": [round(quartile, 3) for quartile in statistics.quantiles(values, n=4)],
    })
    print(len(values), "values summed up")
