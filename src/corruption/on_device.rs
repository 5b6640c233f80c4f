//! Corruptions as operations on a device, for batches of images that are there already.
//!
//! The random words are those of `random.rs`, to the bit. An image has therefore the same noise on every device, up to the
//! rounding of the logarithm and the cosine; masks are the same.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::kernel::{Distribution, random_numbers};
use crate::random::Stream;

/// What the random numbers of the images of a batch are made of, on the device: their positions in the source, as lower and
/// upper words, `[n, 2]`.
#[derive(Clone)]
pub struct Keys(Tensor<2, Int>);

impl Keys {
    /// The keys of images with these positions.
    pub fn new(ids: &[u64], device: &Device) -> Self {
        let words = ids.iter().flat_map(|id| [*id as u32 as i32, (id >> 32) as u32 as i32]).collect();
        Self(integers(words, [ids.len(), 2], device))
    }

    /// Waits until the device has them.
    ///
    /// # Errors
    /// It cannot hold them, in words.
    pub fn arrived(&self) -> Result<(), String> {
        arrived(&self.0)
    }

    /// Those of some of the images.
    pub fn select(&self, indices: Tensor<1, Int>) -> Self {
        Self(self.0.clone().select(0, indices))
    }
}

/// 32-bit integers, whatever the device's default is.
pub fn integers<const D: usize>(values: Vec<i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::I32))
}

/// Waits until the device has these integers. Burn's GPU backends tell what they have failed with to whoever reads, and not to
/// whoever waits.
///
/// # Errors
/// It cannot hold them, in words.
pub fn arrived(integers: &Tensor<2, Int>) -> Result<(), String> {
    let some = integers.dims()[0].min(1);
    let first = integers.clone().slice([0..some, 0..1]).try_into_data();
    first.map(|_| ()).map_err(|cause| cause.to_string())
}

/// The random numbers of the images of a batch on their device: those of the generators of these keys and this epoch.
pub struct Numbers<'a> {
    /// The images.
    pub keys: &'a Keys,
    /// Numbers of one image.
    pub pixels: usize,
    /// What the numbers are for.
    pub stream: &'a Stream,
    /// The epoch that they are drawn in.
    pub epoch: u32,
}

impl Numbers<'_> {
    /// Normal numbers of mean 0 and standard deviation 1, `[n, pixels]`.
    pub fn normal(&self) -> Tensor<2> {
        self.draw(Distribution::Normal)
    }

    /// Uniform numbers in [0, 1), `[n, pixels]`.
    pub fn uniform(&self) -> Tensor<2> {
        self.draw(Distribution::Uniform)
    }

    /// A uniform number in [0, 1) for each image, `[n, 1]`, of the part of the stream that is called so.
    pub fn one_each(&self, part: &str) -> Tensor<2> {
        Numbers { pixels: 1, stream: &self.stream.apart(part), ..*self }.uniform()
    }

    fn draw(&self, distribution: Distribution) -> Tensor<2> {
        random_numbers(self.keys.0.clone(), self.pixels, self.stream.key(), self.epoch, distribution)
    }
}

/// The pixels as they come back from being stored as bytes.
pub fn rounded(images: Tensor<2>) -> Tensor<2> {
    (images * 255.0 + 0.5).floor() / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corruption::{
        Blur, Clip, Corruption, Downsample, Gaussian, Grayscale, Jpeg, Masking, Poisson, SaltAndPepper, Several,
        Speckle, Strength,
    };
    use crate::device::tests::devices;
    use crate::image::{ImageShape, Split};

    const IDS: [u64; 5] = [0, 1, 77, (1 << 32) + 5, u64::MAX];

    /// Images of `pixels` numbers, corrupted on the host and on a device.
    fn both(corruption: &Corruption, pixels: usize, device: &Device) -> [Vec<f32>; 2] {
        both_of(corruption, ImageShape { height: 1, width: pixels, channels: 1 }, device)
    }

    /// The same of images of this shape.
    fn both_of(corruption: &Corruption, image: ImageShape, device: &Device) -> [Vec<f32>; 2] {
        let stream = Stream::new(3, "noise", Split::Train);
        let pixels = image.len();
        let clean: Vec<f32> = (0..IDS.len() * pixels).map(|index| (index % 256) as f32 / 255.0).collect();
        let mut host = vec![0.0; clean.len()];
        for ((id, clean), out) in IDS.iter().zip(clean.chunks(pixels)).zip(host.chunks_mut(pixels)) {
            corruption.kind().apply(clean, image, &mut stream.generator(*id, 9), out);
        }
        let images = Tensor::from_data(TensorData::new(clean, [IDS.len(), pixels]), device);
        let numbers = Numbers { keys: &Keys::new(&IDS, device), pixels, stream: &stream, epoch: 9 };
        let corrupted = corruption.kind().apply_on_device(images, image, &numbers);
        [host, corrupted.into_data().try_into_vec().expect("are floats")]
    }

    #[test]
    fn an_image_has_the_same_noise_on_every_device() {
        for device in devices() {
            // Less than a block, whole blocks, and some more.
            for pixels in [3, 63, 64, 192, 783, 2352] {
                for corruption in [
                    Corruption::Masking(Masking { fraction: 0.3 }),
                    Corruption::SaltAndPepper(SaltAndPepper { fraction: 0.4 }),
                    Corruption::Jpeg(Jpeg { quality: Strength::Same(30) }),
                    Corruption::Jpeg(Jpeg { quality: Strength::Drawn([10, 80]) }),
                ] {
                    let [host, found] = both(&corruption, pixels, &device.inference());
                    assert_eq!(host, found, "{device}: {corruption:?}, {pixels} pixels");
                }
                let mut others = vec![Corruption::Gaussian(Gaussian::new(0.5))];
                for std in [Strength::Same(0.3), Strength::Drawn([0.1, 0.5])] {
                    for clip in [true, false].map(Clip) {
                        others.push(Corruption::Gaussian(Gaussian { std, clip }));
                        others.push(Corruption::Speckle(Speckle { std, clip }));
                    }
                }
                let masking = Corruption::Masking(Masking { fraction: 0.3 });
                others.push(Corruption::Several(Several(vec![masking.clone(), others[1].clone(), masking])));
                others.extend((pixels % 3 == 0).then_some(Corruption::Grayscale(Grayscale {})));
                for corruption in others {
                    let [host, found] = both(&corruption, pixels, &device.inference());
                    let most = host.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(most < 1e-5, "{device}: {corruption:?}, {pixels} pixels: off by {most}");
                }
            }
        }
    }

    #[test]
    fn blur_and_loss_of_resolution_are_the_same_on_every_device() {
        for device in devices() {
            for image in [[7, 9, 1], [28, 28, 1], [5, 12, 3], [1, 1, 3]] {
                let [height, width, channels] = image;
                let image = ImageShape { height, width, channels };
                for corruption in [
                    Corruption::Blur(Blur { std: 1.5 }),
                    Corruption::Blur(Blur { std: 0.0 }),
                    Corruption::Downsample(Downsample { factor: 3 }),
                    Corruption::Downsample(Downsample { factor: 1 }),
                ] {
                    let [host, found] = both_of(&corruption, image, &device.inference());
                    let most = host.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(
                        most < 1e-5 && host.len() == found.len(),
                        "{device}: {corruption:?}, {image}: off by {most}"
                    );
                }
            }
        }
    }

    #[test]
    fn photons_are_the_same_on_every_device_but_for_rounding() {
        for device in devices() {
            // Small and large means, and both.
            for peak in [Strength::Same(8.0), Strength::Same(30.0), Strength::Drawn([5.0, 20.0])] {
                let [host, found] =
                    both(&Corruption::Poisson(Poisson { peak, clip: Clip(true) }), 10_000, &device.inference());
                let differing = host.iter().zip(&found).filter(|(host, found)| (*host - *found).abs() > 1e-6).count();
                assert!(differing <= 5, "{device}: {peak:?}: {differing} of {} differ", host.len());
                let most = host.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(most < 1.001 / 5.0, "{device}: {peak:?}: off by {most}");
            }
        }
    }

    #[test]
    fn rounding_on_a_device_is_that_of_the_files() {
        for device in devices() {
            let pixels: Vec<f32> = (0..=5100).map(|step| step as f32 / 5100.0).collect();
            let images = Tensor::from_data(TensorData::new(pixels.clone(), [1, pixels.len()]), &device.inference());
            let found: Vec<f32> = rounded(images).into_data().try_into_vec().expect("are floats");
            let expected = crate::image::rounded(&pixels);
            let most = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most < 1e-6, "{device}: off by {most}");
        }
    }
}
