//! TLS at the Postgres door: files that are there, belong together, and are what the users' settings need.

use std::path::PathBuf;

use super::file::{File, UserFile};
use super::validate::Check;
use crate::tls::{ServerTls, TlsFile, TlsFiles};

impl Check {
    /// The files that the door encrypts with, read once to see that they can be used.
    pub(super) fn tls(&mut self, file: &File) -> Option<TlsFiles> {
        let given = |path: &Option<String>| path.as_ref().filter(|path| !path.is_empty()).map(PathBuf::from);
        let section = &file.listen.tls;
        let client_ca = given(&section.client_ca_file);
        match (given(&section.certificate_file), given(&section.key_file)) {
            (Some(certificate), Some(key)) => {
                let files = TlsFiles { certificate, key, client_ca };
                if let Err(error) = ServerTls::read(&files) {
                    let key = match error.file {
                        TlsFile::Certificate => "certificate_file",
                        TlsFile::Key => "key_file",
                        TlsFile::ClientCa => "client_ca_file",
                    };
                    self.note(format!("listen.tls.{key}"), error.to_string());
                }
                return Some(files);
            }
            (Some(_), None) => {
                self.note("listen.tls.certificate_file", "the certificate needs its key: set listen.tls.key_file")
            }
            (None, Some(_)) => {
                self.note("listen.tls.key_file", "the key needs its certificate: set listen.tls.certificate_file")
            }
            (None, None) if client_ca.is_some() => {
                let message =
                    "clients can show certificates only on encrypted connections: set listen.tls.certificate_file";
                self.note("listen.tls.client_ca_file", message);
            }
            (None, None) if section.required == Some(true) => {
                let message =
                    "nothing can be encrypted without listen.tls.certificate_file and listen.tls.key_file: set both";
                self.note("listen.tls.required", message);
            }
            (None, None) => {}
        }
        None
    }

    /// What users need of TLS has to be there.
    pub(super) fn users_tls(&mut self, users: &[UserFile], file: &File) {
        let is_set = |path: &Option<String>| path.as_ref().is_some_and(|path| !path.is_empty());
        let tls = is_set(&file.listen.tls.certificate_file) || is_set(&file.listen.tls.key_file);
        for (index, user) in users.iter().enumerate() {
            if user.require_tls == Some(true) && !tls {
                let message =
                    "nothing can be encrypted without listen.tls.certificate_file and listen.tls.key_file: set both";
                self.note(format!("users[{index}].require_tls"), message);
            }
            let certificate = matches!(user.authentication.as_deref(), Some("certificate" | "both"));
            if certificate && !is_set(&file.listen.tls.client_ca_file) {
                let message = "no client's certificate is believed without listen.tls.client_ca_file: set it";
                self.note(format!("users[{index}].authentication"), message);
            }
        }
    }
}
