//! Sections of which a pipeline file chooses one table: `[source]`, `[corruption]` and `[model]`.
//!
//! Each kind of source, corruption and model has a file with its settings. From a list of the kinds, [`choices!`] generates the
//! section as written, the enum of the chosen settings, and the function that resolves one to the other. A new kind is a file
//! and a line in that list.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::Section;

/// The settings of one kind of source, corruption or model.
pub trait Choice: Sized {
    /// The table as it is written. Every key is optional: default.toml completes it.
    type Written: DeserializeOwned + JsonSchema;

    /// Resolves the settings; none if a problem was added to the section.
    fn resolve(written: Self::Written, section: &mut Section<'_>) -> Option<Self>;
}

/// Declares a section of which a pipeline file chooses one table:
///
/// ```text
/// choices! {
///     /// The chosen settings: an enum with a variant for each kind, and a method that gives the behaviour of the chosen kind.
///     pub enum Corruption, kind: dyn CorruptionKind;
///     /// The section as it is written: an optional table for each kind, and other keys.
///     pub struct RawCorruption, optional: true, { }
///     /// A kind: its key in the section, its field and variant, and the type of its settings, which is a `Choice`.
///     "gaussian" gaussian => Gaussian(gaussian::Gaussian),
/// }
/// ```
macro_rules! choices {
    (
        $(#[$enum_attribute:meta])*
        pub enum $enum:ident, $behaviour:ident: dyn $trait:path;
        $(#[$written_attribute:meta])*
        pub struct $written:ident, optional: $optional:literal, {
            $($(#[$other_attribute:meta])* pub $other:ident: $other_type:ty,)*
        }
        $($(#[$attribute:meta])* $key:literal $field:ident => $variant:ident($settings:ty),)+
    ) => {
        $(#[$enum_attribute])*
        pub enum $enum {
            $($(#[$attribute])* #[serde(rename = $key)] $variant($settings),)+
        }

        $(#[$written_attribute])*
        #[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct $written {
            $($(#[$attribute])* #[serde(rename = $key)] pub $field: Option<<$settings as $crate::setting::Choice>::Written>,)+
            $($(#[$other_attribute])* pub $other: $other_type,)*
        }

        impl $enum {
            /// The chosen kind as a trait object.
            pub fn $behaviour(&self) -> &dyn $trait {
                match self {
                    $(Self::$variant(settings) => settings,)+
                }
            }

            /// The key of the chosen kind in a pipeline file.
            pub fn key(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $key,)+
                }
            }
        }

        impl $written {
            /// Resolves the chosen kind; none if there is none or its settings have a problem.
            pub fn resolve(self, section: &mut $crate::setting::Section<'_>) -> Option<$enum> {
                section.one_of(&[$(($key, self.$field.is_some())),+], $optional);
                $(if let Some(written) = self.$field {
                    let settings = <$settings as $crate::setting::Choice>::resolve(written, &mut section.inner($key));
                    return settings.map($enum::$variant);
                })+
                None
            }
        }
    };
}
pub(crate) use choices;
