//! What the settings of all modules have in common.

/// Whether a setting is off, where that is its type's default. Such settings are not written: what was made before there was
/// the setting is what is made without it.
pub fn is_off<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}
