-- Times are microseconds since 1970, UTC. `body` is the whole object as JSON text; the other columns are for finding
-- it. Text is compared byte by byte, whatever the database's locale is.

CREATE TABLE functions (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text COLLATE "C" NOT NULL,
    name    text COLLATE "C" NOT NULL,
    hash    text COLLATE "C" NOT NULL,
    created bigint           NOT NULL,
    updated bigint           NOT NULL,
    body    text             NOT NULL,
    UNIQUE (project, name, hash)
);

CREATE TABLE tags (
    project text COLLATE "C" NOT NULL,
    name    text COLLATE "C" NOT NULL,
    tag     text COLLATE "C" NOT NULL,
    hash    text COLLATE "C" NOT NULL,
    PRIMARY KEY (project, name, tag),
    FOREIGN KEY (project, name, hash) REFERENCES functions (project, name, hash) ON DELETE CASCADE
);

CREATE INDEX tags_by_hash ON tags (project, name, hash);

CREATE TABLE runs (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid          text COLLATE "C" NOT NULL,
    iteration    bigint           NOT NULL,
    revision     bigint           NOT NULL,
    project      text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    function     text COLLATE "C" NOT NULL,
    function_uri text COLLATE "C" NOT NULL,
    state        text COLLATE "C" NOT NULL,
    terminal     boolean          NOT NULL,
    owner        text COLLATE "C" NOT NULL,
    target       text COLLATE "C" NOT NULL,
    attempt      bigint           NOT NULL,
    created      bigint           NOT NULL,
    started      bigint,
    updated      bigint           NOT NULL,
    ended        bigint,
    labels       jsonb            NOT NULL,
    body         text             NOT NULL,
    UNIQUE (uid, iteration)
);

CREATE INDEX runs_by_time ON runs (created, id);
CREATE INDEX runs_by_project ON runs (project, state, created, id);
CREATE INDEX runs_by_state ON runs (state, created, id);
CREATE INDEX runs_by_name ON runs (name, created, id);
CREATE INDEX runs_by_function ON runs (function, created, id);
CREATE INDEX runs_by_owner ON runs (owner, created, id) WHERE owner <> '';

-- One tree for both questions: which runs have this label, newest first; and whether this run has it.
CREATE TABLE run_labels (
    key     text COLLATE "C" NOT NULL,
    value   text COLLATE "C" NOT NULL,
    created bigint           NOT NULL,
    run     bigint           NOT NULL,
    PRIMARY KEY (key, value, created, run)
);

-- The labels follow the run, in the statement that writes it.
CREATE FUNCTION run_labels_of_new() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO run_labels (key, value, created, run)
    SELECT label.key, label.value, new_runs.created, new_runs.id
    FROM new_runs, jsonb_each_text(new_runs.labels) AS label;
    RETURN NULL;
END $$;

CREATE TRIGGER run_labels_of_new AFTER INSERT ON runs
    REFERENCING NEW TABLE AS new_runs FOR EACH STATEMENT EXECUTE FUNCTION run_labels_of_new();

CREATE FUNCTION run_labels_of_old() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM run_labels USING jsonb_each_text(old.labels) AS label
    WHERE run_labels.key = label.key AND run_labels.value = label.value
        AND run_labels.created = old.created AND run_labels.run = old.id;
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO run_labels (key, value, created, run)
        SELECT label.key, label.value, new.created, new.id FROM jsonb_each_text(new.labels) AS label;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER run_labels_of_changed AFTER UPDATE OF labels ON runs
    FOR EACH ROW WHEN (new.labels <> old.labels) EXECUTE FUNCTION run_labels_of_old();

CREATE TRIGGER run_labels_of_deleted AFTER DELETE ON runs
    FOR EACH ROW WHEN (old.labels <> '{}') EXECUTE FUNCTION run_labels_of_old();

CREATE TABLE documents (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL,
    project   text COLLATE "C" NOT NULL,
    revision  bigint           NOT NULL,
    run       text COLLATE "C",
    iteration bigint,
    due       bigint,
    updated   bigint           NOT NULL,
    body      text             NOT NULL,
    UNIQUE (kind, name, project),
    FOREIGN KEY (run, iteration) REFERENCES runs (uid, iteration) ON DELETE CASCADE
);

CREATE INDEX documents_by_project ON documents (kind, project, updated, id);
CREATE INDEX documents_by_time ON documents (kind, updated, id);
CREATE INDEX documents_by_due ON documents (kind, due, id) WHERE due IS NOT NULL;
CREATE INDEX documents_by_run ON documents (run, iteration) WHERE run IS NOT NULL;
