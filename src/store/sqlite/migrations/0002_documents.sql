-- Whatever else is remembered. `body` is JSON, as its writer gave it.
CREATE TABLE documents (
    id        INTEGER PRIMARY KEY,
    kind      TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    project   TEXT    NOT NULL,
    revision  INTEGER NOT NULL,
    run       TEXT,
    iteration INTEGER,
    due       INTEGER,
    updated   INTEGER NOT NULL,
    body      TEXT    NOT NULL,
    FOREIGN KEY (run, iteration) REFERENCES runs (uid, iteration) ON DELETE CASCADE
) STRICT;

CREATE UNIQUE INDEX documents_by_name ON documents (kind, name, project);
CREATE INDEX documents_by_project ON documents (kind, project, updated);
CREATE INDEX documents_by_time ON documents (kind, updated);
CREATE INDEX documents_by_due ON documents (kind, due) WHERE due IS NOT NULL;
CREATE INDEX documents_by_run ON documents (run, iteration) WHERE run IS NOT NULL;
