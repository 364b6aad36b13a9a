r"""A small net, and texts of figures that overlap."""

from sksoftmax import (
    SoftmaxMLPClassifier,
)


def net(**options):
    return SoftmaxMLPClassifier(
        hidden_layer_sizes=(16,),
        n_estimators=1,
        max_epochs=6,
        random_state=0,
        **options,
    )


def texts_that_overlap(figure):
    r"""Return pairs of texts, tick labels and titles included, that overlap."""
    figure.canvas.draw()
    boxes = []
    for ax in figure.axes:
        if not ax.axison:
            continue
        texts = [ax.title, ax._left_title]
        for axis in (ax.xaxis, ax.yaxis):
            # An axis that twins share is drawn once.
            texts += [axis.label, *axis.get_ticklabels()] * axis.get_visible()
        legend = ax.get_legend()
        texts += [] if legend is None else legend.get_texts()
        boxes += [
            (text.get_text(), text.get_window_extent().shrunk(0.9, 0.9))
            for text in texts
            if text.get_visible() and text.get_text()
        ]
    return [
        (a, b)
        for index, (a, box) in enumerate(boxes)
        for b, other in boxes[:index]
        if box.overlaps(other)
    ]
