//! Who may come in: users with their verifiers, tokens from their files.
//!
//! Secrets are read here and nowhere else, and no message repeats a part of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use super::file::{TokenFile, UserFile};
use super::validate::Check;
use super::{Credential, Token, TokenText, User, read_bounded};
use crate::wire::scram::Verifier;

/// A file that holds one secret may not be longer.
const SECRET_FILE_MAX_BYTES: u64 = 4096;
/// A shorter token could be guessed.
const TOKEN_LEAST_BYTES: usize = 16;
/// Makes the salts of passwords from files, so that they change with the password and not whenever the file is read: a
/// stranger could tell by that who exists.
static SALT_SECRET: LazyLock<[u8; 32]> = LazyLock::new(rand::random);

impl Check {
    pub(super) fn users(&mut self, given: &[UserFile]) -> Vec<User> {
        let mut names = BTreeSet::new();
        let mut users = Vec::new();
        for (index, user) in given.iter().enumerate() {
            let key = |field: &str| format!("users[{index}].{field}");
            let name = user.name.clone().unwrap_or_default();
            match &user.name {
                None => self.note(key("name"), "the user needs a name"),
                Some(_) => self.name(&key("name"), &name),
            }
            if !name.is_empty() && !names.insert(name.clone()) {
                self.note(key("name"), "another user has this name");
            }
            if let Some(certificate) = &user.certificate_name {
                self.name(&key("certificate_name"), certificate);
            }
            if user.max_clients == Some(0) {
                self.note(key("max_clients"), "this should be 1 or more; without it only limits.max_clients holds");
            }
            match credential(user, &name) {
                Ok(credential) => {
                    let require_tls = user.require_tls.unwrap_or(false);
                    let (max_clients, read_only) = (user.max_clients, user.read_only.unwrap_or(false));
                    users.push(User { name, credential, require_tls, max_clients, read_only });
                }
                Err((field, message)) => self.note(key(field), message),
            }
        }
        users
    }

    pub(super) fn tokens(&mut self, given: &[TokenFile]) -> Vec<Token> {
        let mut tokens = Vec::new();
        for (index, token) in given.iter().enumerate() {
            let key = |field: &str| format!("tokens[{index}].{field}");
            let user = token.user.clone().unwrap_or_default();
            match &token.user {
                None => self.note(key("user"), "the token needs a user, as whom its bearer acts"),
                Some(_) => self.name(&key("user"), &user),
            }
            match token.token_file.as_deref().map(token_from_file) {
                None => self.note(key("token_file"), "the token needs a token_file"),
                Some(Err(message)) => self.note(key("token_file"), message),
                Some(Ok(token)) => tokens.push(Token { user, token }),
            }
        }
        tokens
    }

    pub(super) fn admin_token(&mut self, given: Option<&str>) -> Option<TokenText> {
        match token_from_file(given.filter(|path| !path.is_empty())?) {
            Ok(token) => Some(token),
            Err(message) => {
                self.note("admin.token_file", message);
                None
            }
        }
    }
}

/// What a user has to show, or which key is wrong and why.
fn credential(user: &UserFile, name: &str) -> Result<Credential, (&'static str, String)> {
    let certificate = user.certificate_name.clone().unwrap_or_else(|| name.to_owned());
    match user.authentication.as_deref() {
        None | Some("password") if user.certificate_name.is_some() => {
            let message = "a certificate is not looked at unless authentication is \"certificate\" or \"both\": set it";
            Err(("certificate_name", message.to_owned()))
        }
        None | Some("password") => Ok(Credential::Password(verifier(user, name)?)),
        Some("both") => Ok(Credential::Both(verifier(user, name)?, certificate)),
        Some("certificate") if user.verifier.is_some() || user.password_file.is_some() => {
            let message = "no password is asked for with \"certificate\": leave it out, or set \"both\"";
            Err(("authentication", message.to_owned()))
        }
        Some("certificate") => Ok(Credential::Certificate(certificate)),
        Some(_) => Err(("authentication", "this should be \"password\", \"certificate\" or \"both\"".to_owned())),
    }
}

fn verifier(user: &UserFile, name: &str) -> Result<Verifier, (&'static str, String)> {
    match (&user.verifier, &user.password_file) {
        (Some(verifier), None) => Verifier::parse(verifier).ok_or((
            "verifier",
            "this should be SCRAM-SHA-256$4096:SALT$STORED_KEY:SERVER_KEY, as `select rolpassword from pg_authid` shows \
             it on a Postgres server"
                .to_owned(),
        )),
        (None, Some(path)) => verifier_from_file(path, name).map_err(|message| ("password_file", message)),
        _ => Err(("name", "the user needs a verifier or a password_file, and not both".to_owned())),
    }
}

/// A file that holds a password, or a verifier made elsewhere.
fn verifier_from_file(path: &str, user: &str) -> Result<Verifier, String> {
    let password = secret_from_file(path)?;
    if password.starts_with("SCRAM-SHA-256$") {
        return Verifier::parse(&password).ok_or_else(|| "the file holds a verifier that is not whole".to_owned());
    }
    Ok(Verifier::from_password(&password, Verifier::salt_for(user, &password, &SALT_SECRET)))
}

fn token_from_file(path: &str) -> Result<TokenText, String> {
    let token = secret_from_file(path)?;
    if token.len() < TOKEN_LEAST_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "the token should be {TOKEN_LEAST_BYTES} or more printable ASCII characters, without spaces"
        ));
    }
    Ok(TokenText(token))
}

fn secret_from_file(path: &str) -> Result<String, String> {
    let text = read_bounded(Path::new(path), SECRET_FILE_MAX_BYTES)
        .map_err(|error| format!("cannot read the file ({error}): give the user that runs shardd the right to"))?;
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(secret), None) if !secret.is_empty() => Ok(secret.to_owned()),
        _ => Err("the file should hold one line, the secret".to_owned()),
    }
}
