"""Pictures to tensors and back."""

from torchvision.transforms import ToPILImage, ToTensor

to_tensor, to_pil_image = ToTensor(), ToPILImage()
