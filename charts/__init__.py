"""Figures: one file per module, results in, Plotly figures out; `theme` holds the palette and the template.

Every `plot_x(result) -> plotly.graph_objects.Figure` is used by the dashboard and by `result.plot()` in a notebook alike.
Nothing here opens a database or imports Streamlit.
"""
