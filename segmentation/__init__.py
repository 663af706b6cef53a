"""The paper's method around a net: data in VOC layout, example lists, windows, aggregation, scores, report."""
