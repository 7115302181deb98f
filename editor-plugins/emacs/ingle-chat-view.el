;;; ingle-chat-view.el --- How a chat is drawn  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns what a chat's buffer looks like: the turns, read-only, then a prompt
;; and the next question.  What is asked and answered is `ingle-chat'.

;;; Code:

(require 'cl-lib)
(require 'button)
(require 'subr-x)
(require 'ingle-markdown)

(declare-function ingle-chat--apply-button "ingle-chat")
(declare-function ingle-chat--copy-button "ingle-chat")

(defface ingle-chat-speaker '((t :inherit (bold font-lock-keyword-face)))
  "Face of the lines that say whose turn it is."
  :group 'ingle)

(defface ingle-chat-analysis '((t :inherit shadow :slant italic))
  "Face of the model's reasoning."
  :group 'ingle)

(defface ingle-chat-note '((t :inherit shadow))
  "Face of what is said about a turn: its context, how it ended."
  :group 'ingle)

(defvar-local ingle-chat--end nil "Marker: where the next text of a turn goes.")
(defvar-local ingle-chat--input nil "Marker: where the next question begins.")

(defun ingle-chat--view-setup (show-analysis)
  "Make this empty buffer a chat, with the reasoning if SHOW-ANALYSIS."
  (setq-local ingle-chat--end (point-marker)
              ingle-chat--input (point-marker))
  (set-marker-insertion-type ingle-chat--end t)
  (setq buffer-invisibility-spec
        (if show-analysis '(t) '(t (ingle-analysis . t)))))

(defmacro ingle-chat--writing (&rest body)
  "Run BODY, which writes into the read-only part of the chat."
  (declare (indent 0) (debug t))
  `(let ((inhibit-read-only t))
     (save-excursion ,@body)
     ;; Positions in the record of changes are of the text before.
     (setq buffer-undo-list nil)
     (set-buffer-modified-p nil)))

(defun ingle-chat--insert (text &rest properties)
  "Insert TEXT with PROPERTIES above the prompt."
  (ingle-chat--writing
    (goto-char ingle-chat--end)
    (insert (apply #'propertize text 'read-only t 'front-sticky '(read-only)
                   'rear-nonsticky t properties))))

(defun ingle-chat--fresh-line ()
  "Begin a new line above the prompt, unless one begins there."
  (save-excursion
    (goto-char ingle-chat--end)
    (unless (bolp)
      (ingle-chat--insert "\n"))))

(defun ingle-chat--draw-prompt (labels)
  "Draw what is above the next question; LABELS name its context."
  (let ((places (ingle-chat--places)))
    (ingle-chat--draw-prompt-1 labels)
    (ingle-chat--restore-places places)))

(defun ingle-chat--places ()
  "Where point is in the next question, for this buffer and its windows.
A list of (WINDOW . OFFSET), where WINDOW is nil for the buffer itself;
those that are elsewhere are left out."
  (cl-loop for window in (cons nil (get-buffer-window-list nil nil t))
           for place = (if window (window-point window) (point))
           if (>= place ingle-chat--input)
           collect (cons window (- place ingle-chat--input))))

(defun ingle-chat--restore-places (places)
  "Put point where PLACES say, after the prompt was drawn."
  (pcase-dolist (`(,window . ,offset) places)
    (let ((place (min (point-max) (+ ingle-chat--input offset))))
      (if window
          (set-window-point window place)
        (goto-char place)))))

(defun ingle-chat--draw-prompt-1 (labels)
  "Replace the prompt by one with LABELS."
  (ingle-chat--writing
    (let ((end (marker-position ingle-chat--end)))
      (delete-region end ingle-chat--input)
      (goto-char end)
      (set-marker-insertion-type ingle-chat--input t)
      (set-marker-insertion-type ingle-chat--end nil)
      (insert (propertize
               (concat (if (bobp) "" "\n")
                       (mapconcat (lambda (label)
                                    (propertize (concat "with " label "\n")
                                                'face 'ingle-chat-note))
                                  labels "")
                       (propertize "> " 'face 'ingle-chat-speaker))
               'read-only t 'front-sticky '(read-only) 'rear-nonsticky t
               'field 'ingle-prompt))
      (set-marker-insertion-type ingle-chat--input nil)
      (set-marker-insertion-type ingle-chat--end t))))

(defun ingle-chat--question (text labels)
  "Draw a question of TEXT about what LABELS name."
  (ingle-chat--fresh-line)
  (ingle-chat--insert (concat (if (= (point-min) ingle-chat--end) "" "\n") "You\n")
                      'face 'ingle-chat-speaker)
  (ingle-chat--insert (concat text "\n"))
  (when labels
    (ingle-chat--insert (format "(with %s)\n" (string-join labels ", "))
                        'face 'ingle-chat-note)))

(defun ingle-chat--answer-begins (model)
  "Draw the line before an answer by MODEL."
  (ingle-chat--insert (format "\n%s\n" (if (string-empty-p model) "Answer" model))
                      'face 'ingle-chat-speaker))

(defun ingle-chat--analysis (text)
  "Draw TEXT of the model's reasoning; it is hidden unless asked for."
  (ingle-chat--insert text 'invisible 'ingle-analysis 'face 'ingle-chat-analysis))

(defun ingle-chat--finished (from turn blocks)
  "Put faces on the answer at FROM, and buttons below its BLOCKS.
TURN is its number in the thread."
  (let* ((end (marker-position ingle-chat--end))
         (found (ingle-markdown-blocks from end)))
    (ingle-markdown-fontify from end)
    (if (= (length found) (length blocks))
        ;; From the last, so that the places stay right.
        (cl-loop for (_fence _start stop _language) in (reverse found)
                 for block in (reverse (append blocks nil))
                 do (ingle-chat--buttons (save-excursion
                                           (goto-char stop)
                                           (min end (1+ (line-end-position))))
                                         turn block))
      (cl-loop for block across blocks
               do (ingle-chat--fresh-line)
               (ingle-chat--buttons ingle-chat--end turn block)))))

(defun ingle-chat--buttons (place turn block)
  "Insert at PLACE what can be done with BLOCK of TURN."
  (ingle-chat--writing
    (goto-char place)
    (unless (bolp) (insert (propertize "\n" 'read-only t)))
    (let ((start (point)))
      (insert-text-button "[apply]" 'action #'ingle-chat--apply-button
                          'ingle-block (list turn block) 'follow-link t
                          'help-echo "Change the buffer that the chat is about")
      (insert " ")
      (insert-text-button "[copy]" 'action #'ingle-chat--copy-button
                          'ingle-block (list turn block) 'follow-link t
                          'help-echo "Copy the code to the kill ring")
      (insert "\n")
      (add-text-properties start (point)
                           '(read-only t front-sticky (read-only) rear-nonsticky t)))))

(defun ingle-chat--end-note (finish)
  "Say how an answer ended if it did not just end: FINISH."
  (let ((note (pcase finish
                ("length" "(the answer was cut off: it became too long)")
                ("cancelled" "(stopped)")
                ("error" "(the answer broke off)"))))
    (when note
      (ingle-chat--insert (concat note "\n") 'face 'ingle-chat-note))))

(provide 'ingle-chat-view)
;;; ingle-chat-view.el ends here
