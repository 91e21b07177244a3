//! Users and groups of a guest, as useradd(8) and groupadd(8) of shadow-utils make them: by the guest's own settings,
//! in all the files that must agree.

mod add_group;
mod add_user;
mod files;
mod home;

pub use add_group::{NewGroup, add_group};
pub use add_user::{AddedUser, NewUser, Password, add_user};
pub(crate) use files::{Files, add_to_group, wrong};
pub(crate) use home::ensure_home;
