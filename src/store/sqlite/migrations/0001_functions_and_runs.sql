-- Tells this file from other programs' databases: "RUNT".
PRAGMA application_id = 1381322324;

-- Times are microseconds since 1970, UTC. `body` is the whole object as JSON; the other columns are for finding it.

CREATE TABLE functions (
    id      INTEGER PRIMARY KEY,
    project TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    hash    TEXT    NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    body    TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX functions_by_hash ON functions (project, name, hash);

CREATE TABLE tags (
    project TEXT NOT NULL,
    name    TEXT NOT NULL,
    tag     TEXT NOT NULL,
    hash    TEXT NOT NULL,
    PRIMARY KEY (project, name, tag),
    FOREIGN KEY (project, name, hash) REFERENCES functions (project, name, hash) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX tags_by_hash ON tags (project, name, hash);

CREATE TABLE runs (
    id           INTEGER PRIMARY KEY,
    uid          TEXT    NOT NULL,
    iteration    INTEGER NOT NULL,
    revision     INTEGER NOT NULL,
    project      TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    function     TEXT    NOT NULL,
    function_uri TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    terminal     INTEGER NOT NULL,
    owner        TEXT    NOT NULL,
    target       TEXT    NOT NULL,
    attempt      INTEGER NOT NULL,
    created      INTEGER NOT NULL,
    started      INTEGER,
    updated      INTEGER NOT NULL,
    ended        INTEGER,
    labels       TEXT    NOT NULL,
    body         TEXT    NOT NULL
) STRICT;

-- A list without a state merges the states, so these two also serve lists by project or by time alone.
CREATE UNIQUE INDEX runs_by_uid ON runs (uid, iteration);
CREATE INDEX runs_by_project ON runs (project, state, created);
CREATE INDEX runs_by_state ON runs (state, created);
CREATE INDEX runs_by_name ON runs (name, created);
CREATE INDEX runs_by_function ON runs (function, created);
CREATE INDEX runs_by_owner ON runs (owner, created) WHERE owner <> '';

-- One tree for both questions: which runs have this label, newest first; and whether this run has it.
CREATE TABLE run_labels (
    key     TEXT    NOT NULL,
    value   TEXT    NOT NULL,
    created INTEGER NOT NULL,
    run     INTEGER NOT NULL,
    PRIMARY KEY (key, value, created, run)
) STRICT, WITHOUT ROWID;

-- The labels follow the run, in the statement that writes it.
CREATE TRIGGER run_labels_of_new AFTER INSERT ON runs WHEN new.labels <> '{}' BEGIN
    INSERT INTO run_labels (key, value, created, run)
    SELECT each.key, each.value, new.created, new.id FROM json_each(new.labels) AS each;
END;

CREATE TRIGGER run_labels_of_changed AFTER UPDATE OF labels ON runs WHEN new.labels <> old.labels BEGIN
    DELETE FROM run_labels WHERE (key, value, created, run) IN
        (SELECT each.key, each.value, old.created, old.id FROM json_each(old.labels) AS each);
    INSERT INTO run_labels (key, value, created, run)
    SELECT each.key, each.value, new.created, new.id FROM json_each(new.labels) AS each;
END;

CREATE TRIGGER run_labels_of_deleted AFTER DELETE ON runs WHEN old.labels <> '{}' BEGIN
    DELETE FROM run_labels WHERE (key, value, created, run) IN
        (SELECT each.key, each.value, old.created, old.id FROM json_each(old.labels) AS each);
END;
