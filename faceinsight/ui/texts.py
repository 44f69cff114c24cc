"""Every text of the page that is more than a label."""

TITLE = "# FaceInsight\nWhere every face is, and its apparent age, gender and emotion."

IMAGE_HINT = "Drop, paste or snap a picture: JPEG, PNG, WebP, HEIC, up to 64 megapixels."
NO_FACE = (
    "**No face found.** Faces seen from behind, far to the side, half covered, very dark or very "
    "small are missed: lower the detection threshold, or try a closer picture."
)
WEBCAM_HINT = (
    "Press <em>Click to Access Webcam</em>, allow the camera, then press <em>Record</em>. A camera needs a "
    "page on https or localhost. Frames are analysed and forgotten; nothing is stored unless you record."
)
VIDEO_HINT = "Upload an MP4, MOV, WebM or MKV clip, choose what to analyse, and press *Analyse*."

ABOUT = """
### What the numbers mean, and what they do not

Every value is an estimate from how a face looks in one picture. **Age** is apparent age, **gender**
is gender presentation, **emotion** is facial expression. None of them says who somebody is, how
somebody feels, or how somebody identifies. Estimates are worse for children, old people, faces
turned away, bad light, and for groups that the training pictures show seldom. Do not use them
for decisions about people.

### Your pictures

Pictures, frames and clips are analysed on the computer that runs this page. They are not sent
anywhere else, webcam frames are never written to disk, and uploads and results are deleted
within half an hour, or when the server stops. There is no telemetry.
"""

LICENCE_QUESTION = "I have read the licences above; InsightFace's weights are for non-commercial research only"

FOOTER = (
    "Estimates of apparent age, gender presentation and expression; never identity, never what "
    "somebody feels; not for decisions about people."
)
