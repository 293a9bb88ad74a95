-- Each primary key takes the place of an index that lists the same rows in the same order. The tables are locked while
-- the new keys are built.
ALTER TABLE transactions DROP CONSTRAINT transactions_pkey;
ALTER TABLE transactions ADD PRIMARY KEY (user_id, date, id);
ALTER TABLE ledger_transfers DROP CONSTRAINT ledger_transfers_pkey;
ALTER TABLE ledger_transfers ADD PRIMARY KEY (date, id, user_id);

-- reverse
ALTER TABLE ledger_transfers DROP CONSTRAINT ledger_transfers_pkey;
ALTER TABLE ledger_transfers ADD PRIMARY KEY (id, user_id, date);
ALTER TABLE transactions DROP CONSTRAINT transactions_pkey;
ALTER TABLE transactions ADD PRIMARY KEY (id, user_id, date);
