CREATE SCHEMA dovecot;
CREATE TABLE dovecot.proxy_domain_mappings (
domain VARCHAR(32) NOT NULL,
mail_server_ip inet NOT NULL,
PRIMARY KEY (domain)
);CREATE TYPE dovecot.mapping_t AS (
password varchar(8),
host varchar(16),
destuser varchar(255),
nologin varchar(1),
nodelay varchar(1),
proxy varchar(1)
);CREATE FUNCTION dovecot.domain_mapping(mail_user varchar(32))
RETURNS SETOF dovecot.mapping_t
AS '
DECLARE
_mapping dovecot.mapping_t;
_destuser varchar;
_realm varchar;
_password varchar;
_nologin varchar;
_nodelay varchar;
_proxy varchar;
_delimiter text;
BEGIN
_delimiter:= ''@'';
_password := NULL;
_nologin := ''Y'';
_nodelay := ''Y'';
_proxy := ''Y'';
SELECT split_part(mail_user,_delimiter,1) INTO _destuser;
SELECT split_part(mail_user,_delimiter,2) INTO _realm;
FOR _mapping IN
SELECT _password, mail_server_ip, _destuser, _nologin, _nodelay, _proxy
FROM dovecot.proxy_domain_mappings
WHERE domain = lower(_realm)
LOOP
RETURN NEXT _mapping;
END LOOP;
END;
' LANGUAGE PLPGSQL;
INSERT INTO dovecot.proxy_domain_mappings VALUES ( 'labo1', '192.168.0.1' );
INSERT INTO dovecot.proxy_domain_mappings VALUES ( 'labo2', '192.168.0.2' );
