"""Any JSON there is."""

from datetime import UTC, datetime

from hypothesis import strategies as st

NOW = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


MS = int(NOW * 1000)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
