-- Who writes, and which of its transactions was the last to be committed: so what became of one whose commit was not
-- answered can be known, also where the server crashed and gives its transactions' ids to others.
CREATE TABLE writers (
    name    text COLLATE "C" PRIMARY KEY,
    batch   bigint           NOT NULL,
    written bigint           NOT NULL
) WITH (fillfactor = 50);
