INSERT INTO admin_settings (key, value, type, description, updated_at) VALUES
    ('uploads_running', '5', 'decimal', 'Uploads of one customer that may be read at the same time.', now()),
    ('uploads_per_day', '500', 'decimal', 'Files that one customer may upload within 24 hours.', now()),
    ('upload_megabytes_per_day', '1000', 'decimal', 'Megabytes that one customer may upload within 24 hours.', now()),
    ('upload_expiry_days', '90', 'decimal', 'Days until uploaded files and the rejected rows of imports are deleted.', now()),
    ('export_expiry_days', '7', 'decimal', 'Days until exports of personal data are deleted.', now())
ON CONFLICT DO NOTHING;

-- reverse
DELETE FROM admin_settings WHERE key IN ('uploads_running', 'uploads_per_day', 'upload_megabytes_per_day', 'upload_expiry_days', 'export_expiry_days');
