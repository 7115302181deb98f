;;; ingle-edits.el --- The server's edits in buffers  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns how a WorkspaceEdit becomes a change of buffers: everything is
;; checked before anything is changed, and one document's edits are one
;; step to undo.  Files are never written: new ones are buffers that wait
;; to be saved.

;;; Code:

(require 'cl-lib)
(require 'ingle-document)

(declare-function ingle--connection "ingle-connection")

(defun ingle--apply-workspace-edit (edit)
  "Apply EDIT, a WorkspaceEdit.  Return nil, or why nothing was changed."
  (catch 'refused
    (let ((plans (ingle--plans edit)))
      (dolist (plan plans)
        (with-current-buffer (car plan)
          (ingle--apply-plan (cdr plan))))
      (ingle--show-changed (mapcar #'car plans))
      nil)))

(defun ingle--plans (edit)
  "The buffers that EDIT is about, with what to do there.
Each is a list (BUFFER (START END TEXT)...).  Throws `refused' with a
line if something is not possible."
  (let (created)
    (append
     (cl-loop
      for change across (or (plist-get edit :documentChanges) [])
      for kind = (plist-get change :kind)
      if (equal kind "create")
      do (push (plist-get change :uri) created)
      else if kind
      do (throw 'refused (format "files can't be changed by \"%s\" here" kind))
      else collect
      (let ((document (plist-get change :textDocument)))
        (ingle--plan (plist-get document :uri) (plist-get document :version)
                     (plist-get change :edits) created)))
     (unless (plist-get edit :documentChanges)
       (cl-loop for (key edits) on (plist-get edit :changes) by #'cddr
                collect (ingle--plan (substring (symbol-name key) 1) nil edits nil))))))

(defun ingle--plan (uri version edits created)
  "What EDITS of the document URI at VERSION mean, as in `ingle--plans'.
CREATED are the URIs of new files."
  (let* ((new (member uri created))
         (file (ingle--uri-file uri))
         (buffer (if (and new file (not (find-buffer-visiting file)) (file-exists-p file))
                     (throw 'refused (format "%s exists already" file))
                   (ingle--uri-buffer uri 'visit))))
    (unless buffer
      (throw 'refused "the buffer is gone"))
    (with-current-buffer buffer
      (when (and new (> (buffer-size) 0))
        (throw 'refused (format "%s is not empty" (buffer-name))))
      (when buffer-read-only
        (throw 'refused (format "%s is read-only" (buffer-name))))
      (unless new
        (ingle--check-version version))
      (let ((connection (or (ingle--connection) (throw 'refused "ingle-lsp is gone"))))
        (cons buffer
              ;; From the end, so that positions before it stay right; what is
              ;; inserted at one place comes in the order of the list.
              (sort (nreverse
                     (mapcar (lambda (change)
                               (let ((range (plist-get change :range)))
                                 (list (ingle--point (plist-get range :start) connection)
                                       (ingle--point (plist-get range :end) connection)
                                       (plist-get change :newText))))
                             edits))
                    (lambda (one other) (> (car one) (car other)))))))))

(defun ingle--check-version (version)
  "Throw `refused' unless this buffer is at VERSION; nil is any."
  (when (and version ingle--copy)
    (when (or (/= version (ingle--copy-version ingle--copy))
              (ingle--copy-dirty ingle--copy))
      (throw 'refused (format "%s has changed meanwhile" (buffer-name))))))

(defun ingle--apply-plan (parts)
  "Edit PARTS of this buffer, a list of (START END TEXT)."
  (save-restriction
    (widen)
    (undo-boundary)
    (let ((group (prepare-change-group)))
      (atomic-change-group
        (save-excursion
          (pcase-dolist (`(,start ,end ,text) parts)
            (ingle--replace start end text))))
      (undo-amalgamate-change-group group))
    (undo-boundary)))

(defun ingle--replace (start end text)
  "Replace what is from START to END by TEXT.
Markers and point outside of what differs stay where they are."
  (let* ((old (buffer-substring-no-properties start end))
         (most (min (length old) (length text)))
         (same (or (cl-mismatch old text) most))
         (tail 0))
    (while (and (< tail (- most same))
                (eq (aref old (- (length old) tail 1))
                    (aref text (- (length text) tail 1))))
      (setq tail (1+ tail)))
    (goto-char (+ start same))
    (delete-region (point) (- end tail))
    (insert (substring text same (- (length text) tail)))))

(defun ingle--show-changed (buffers)
  "Show those of the changed BUFFERS that can't be seen."
  (dolist (buffer buffers)
    (unless (get-buffer-window buffer t)
      (display-buffer buffer))))

(provide 'ingle-edits)
;;; ingle-edits.el ends here
