"""Figures: one file per module, results in, Plotly figures out; `theme` holds the palette and the template.

Every `plot_x(result) -> plotly.graph_objects.Figure` serves the dashboard and `result.plot()` in a notebook alike.
Nothing here opens a database or imports Streamlit.
"""
