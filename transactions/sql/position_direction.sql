CASE WHEN credit_account = '22100' OR debit_account = '12100' THEN 1 ELSE -1 END
