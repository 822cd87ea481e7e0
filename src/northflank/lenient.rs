//! Reading JSON that may hold anything: what fits is taken, and what does not is passed over while it is read. Nothing
//! is put by to be looked at twice, so that a value of the wrong type costs no memory.

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Reads a field that may be of any type: what does not fit is absent, and passed over without being kept.
pub(super) fn patient<'de, D: Deserializer<'de>, T: Lenient<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(Patience(PhantomData))
}

/// Whether a field holds anything but null.
pub(super) fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<IgnoredAny>::deserialize(deserializer)?.is_some())
}

/// What a field can hold: each kind of JSON is taken or passed over.
pub(super) trait Lenient<'de>: Sized {
    fn from_text(_: &str) -> Option<Self> {
        None
    }
    fn from_number(_: u64) -> Option<Self> {
        None
    }
    fn from_bool(_: bool) -> Option<Self> {
        None
    }
    fn from_list<A: SeqAccess<'de>>(mut items: A) -> Result<Option<Self>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn from_object<A: MapAccess<'de>>(mut fields: A) -> Result<Option<Self>, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl Lenient<'_> for String {
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Lenient<'_> for bool {
    fn from_bool(value: bool) -> Option<Self> {
        Some(value)
    }
}

impl Lenient<'_> for u32 {
    fn from_number(number: u64) -> Option<Self> {
        number.try_into().ok()
    }
}

impl Lenient<'_> for Timestamp {
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// An item of a list; nothing where it is of another kind.
pub(super) struct Item<T>(pub(super) Option<T>);

impl<'de, T: Lenient<'de>> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        patient(deserializer).map(Self)
    }
}

/// Lets structures be read where an object stands.
macro_rules! objects {
    ($($object:ty),*) => {$(
        impl<'de> $crate::northflank::lenient::Lenient<'de> for $object {
            fn from_object<A: serde::de::MapAccess<'de>>(fields: A) -> Result<Option<Self>, A::Error> {
                serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(fields)).map(Some)
            }
        }
    )*};
}
pub(super) use objects;

struct Patience<T>(PhantomData<T>);

impl<'de, T: Lenient<'de>> Visitor<'de> for Patience<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_str<E>(self, text: &str) -> Result<Option<T>, E> {
        Ok(T::from_text(text))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Option<T>, E> {
        Ok(T::from_number(number))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Option<T>, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Option<T>, E> {
        Ok(None)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Option<T>, E> {
        Ok(T::from_bool(value))
    }
    fn visit_unit<E>(self) -> Result<Option<T>, E> {
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Option<T>, A::Error> {
        T::from_list(items)
    }
    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Option<T>, A::Error> {
        T::from_object(fields)
    }
}
