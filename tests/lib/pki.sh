# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Certificates for tests, by openssl(1), in the working folder. $T is a folder of the script's.
#
#	make_ca NAME                          NAME.key, NAME.crt, self-signed
#	make_cert CA NAME [OPTION...]         NAME.key, NAME.crt, of CA, for localhost and 127.0.0.1; options of 'openssl ca'
#	revoke CA NAME; make_crl CA           CA.crl holds what was revoked
make_ca()
{
	openssl ecparam -genkey -name prime256v1 -noout -out "$1.key" &&
		openssl req -x509 -new -key "$1.key" -subj "/CN=$1" -days 30 -addext basicConstraints=critical,CA:TRUE \
			-addext keyUsage=critical,keyCertSign,cRLSign -out "$1.crt" && mkdir -p "$1.db" && : >"$1.db/index.txt" || return 1
	cat >"$1.cnf" <<-X
		[ca]
		default_ca = own
		[own]
		dir = $PWD/$1.db
		database = $PWD/$1.db/index.txt
		new_certs_dir = $PWD/$1.db
		rand_serial = yes
		certificate = $PWD/$1.crt
		private_key = $PWD/$1.key
		default_md = sha256
		default_days = 20
		default_crl_days = 20
		policy = any
		copy_extensions = copy
		unique_subject = no
		[any]
		commonName = supplied
	X
}

make_cert()
{
	pki_ca=$1 pki_name=$2
	shift 2
	openssl ecparam -genkey -name prime256v1 -noout -out "$pki_name.key" &&
		openssl req -new -key "$pki_name.key" -subj "/CN=$pki_name" -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -out "$pki_name.csr" &&
		openssl ca -config "$pki_ca.cnf" -batch -notext -in "$pki_name.csr" -out "$pki_name.crt" "$@"
}

revoke()
{
	openssl ca -config "$1.cnf" -revoke "$2.crt"
}

make_crl()
{
	openssl ca -config "$1.cnf" -gencrl -out "$1.crl"
}
