"""One revision for the whole deployment, which counts the changes of all series."""

from alembic import op

revision = "0003"
down_revision = "0002"

DEPLOYMENT = """
CREATE TABLE deployment (
    id integer NOT NULL CONSTRAINT pk_deployment PRIMARY KEY
        CONSTRAINT ck_deployment_one_row CHECK (id = 1),
    revision bigint NOT NULL DEFAULT 0
)
"""


def upgrade() -> None:
    """Create the deployment's row and the column that refers to its revision."""
    op.execute(DEPLOYMENT)
    op.execute("INSERT INTO deployment (id) VALUES (1)")
    op.execute("ALTER TABLE series ADD COLUMN deployment_revision bigint NOT NULL DEFAULT 0")
    op.execute("CREATE INDEX ix_series_deployment_revision ON series (deployment_revision)")
